"""What syntax says of a cursor ('|') in C#, in whole and in broken code."""

import pytest

from tests.corpus.sites import check_site

HEAD = """\
using System;
using System.Text;
using Json = Shop.Text.JsonConvert;
namespace App.Tea;
public record Point(int X, Lid Top);
public class Lid { public bool Open { get; set; } public Size Size; }
public partial class Kettle<T> : Vessel<T>, IBoil where T : class
{
    private readonly ILogger<Kettle> _log = new Logger();
    public List<Lid> Lids { get; } = new();
    public Lid? Top => Lids[0];
    public Kettle(ILogger<Kettle> log) : base(log) { _log = log; }
    public Lid Fill(bool hot, string name) { return new Lid(); }
    public async Task<Lid> Find(string name) => null;
"""


def method(body: str, parameters: str = "Point p, params Lid[] lids") -> str:
    return f"{HEAD}    public async Task<Lid> Boil({parameters})\n    {{\n        {body}\n    }}\n    void End() {{ }}\n}}\n"


# text, receiver, its class, its origin
RECEIVERS = [
    (method("this.|"), "this", "Kettle", "Vessel()"),
    (method("base.|"), "base", "Vessel", "Vessel()"),
    (method("_log?.|"), "_log", "ILogger", "ILogger()"),
    (method("Lids.|"), "Lids", "List", "List()"),
    (method("Lids[0].|"), "Lids[0]", "Lid", "List()[]"),
    (method("Top!.|"), "Top", "Lid", ""),
    (method("p.Top.Size.|"), "p.Top.Size", "Size", "Size()"),
    (method("lids[0].|"), "lids[0]", "Lid", "Array()[]"),
    (method("Lid x = new();\n        x.|"), "x", "Lid", ""),
    (method("var x = await Find(a);\n        x.|"), "x", "Lid", "Task()"),
    (method("var x = Fill(true, a);\n        x.|"), "x", "Lid", ""),
    (method("Fetch().|"), "Fetch()", "", "Fetch()"),
    (method("new List<Lid>().|"), "new List<Lid>()", "List", "List()"),
    (method("((Lid)o).|"), "((Lid)o)", "Lid", ""),
    (method("(o as Lid).|"), "(o as Lid)", "Lid", ""),
    (method("foreach (var x in Lids)\n        {\n            x.|\n        }"), "x", "Lid", ""),
    (method("if (o is Lid x && x.|)"), "x", "Lid", ""),
    (method("if (o is Lid)\n        {\n            o.|\n        }", "object o"), "o", "Lid", "object()"),
    (method("var y = o switch { Lid x => x.| };"), "x", "Lid", ""),
    (method("using var x = new StreamReader(a);\n        x.|"), "x", "StreamReader", "StreamReader()"),
    (method("try { } catch (IOException e) when (e.|"), "e", "IOException", "IOException()"),
    (method("var q = from x in Lids where x.|"), "x", "Lid", ""),
    (method("Lids.Select((Lid x) => x.|)"), "x", "Lid", ""),
    (method("int Local(Lid x) { x.|; }"), "x", "Lid", ""),
    (method("string.|"), "string", "", "string"),
    (method("System.Console.|"), "System.Console", "Console", "System.Console"),
    (method("Json.|"), "Json", "JsonConvert", "Shop.Text.JsonConvert"),
    (method("nameof(p.|)"), "p", "Point", ""),
    (method("xs\n            .Where(x => x)\n            .|"), "xs\n            .Where(x => x)", "", "xs.Where()"),
    (method('Log($"to {p.|}")'), "p", "Point", ""),
    (method('Log($"to {p.Get("x").|}")'), 'p.Get("x")', "", ""),
    (method('Log($"{{ {1} \\"");\n        p.|'), "p", "Point", ""),
    (method('Log(@"c:\\");\n        p.|'), "p", "Point", ""),
    (method('Log(@"{\n  ""a"": 1");\n        p.|'), "p", "Point", ""),
    (method('Log("""\n  it\'s "x"\n  """);\n        p.|'), "p", "Point", ""),
    (method("#region it's\n        p.|"), "p", "Point", ""),
    ("class A(Lid lid) { void F() { lid.| } }", "lid", "Lid", "Lid()"),
    ("var x = new Lid();\nx.|", "x", "Lid", "Lid()"),
]


@pytest.mark.parametrize(("marked", "receiver", "kind", "origin"), RECEIVERS)
def test_receiver(marked: str, receiver: str, kind: str, origin: str) -> None:
    check_site(marked, "csharp", kind="member", receiver=receiver, receiver_type=kind, receiver_origin=origin)


KINDS = [
    (method("return new Li|"), "name", "Li"),
    (method("await Fi|"), "name", "Fi"),
    (method("Dictionary<string, Li|"), "name", "Li"),
    (method("bytes[..le|]"), "name", "le"),
    (method("new Lid { Op| = true }"), "name", "Op"),
    (HEAD + "    [Obso|]\n    void F() { }\n}\n", "name", "Obso"),
    (method("string na|"), "declaration", "na"),
    (method("List<Lid> na|"), "declaration", "na"),
    (method("if (o is Lid na|)"), "declaration", "na"),
    (method("Fill(out var na|"), "declaration", "na"),
    (method("from na| in Lids"), "declaration", "na"),
    (method("", "[FromBody] Lid? a, Lid[] na|"), "declaration", "na"),
    (HEAD + "    public async Task<List<Lid>> Na|\n}\n", "declaration", "Na"),
    (HEAD + "    private readonly Li|\n}\n", "name", "Li"),
    ("class A : Ba|", "name", "Ba"),
    ("public record struct Po|", "declaration", "Po"),
    ("using System.Te|", "import", "Te"),
    ("\ufeffusing Sys|", "import", "Sys"),
    ("global using static System.Ma|", "import", "Ma"),
    ("using Foo = System.Te|", "import", "Te"),
    ("namespace App.Te|", "import", "Te"),
    (method('Log($"to {{p.na|")'), "text", "na"),
    (method('Log("{p.na|")'), "text", "na"),
    (method("/// p.na|"), "text", "na"),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, "csharp", kind=kind, prefix=prefix)


CALLS = [
    (method("Fill(true, |)"), "Fill", 1, "string"),
    (method("Fill(true, name: |"), "Fill", "name", "string"),
    (method("new Kettle(|"), "new Kettle", 0, "ILogger"),
    (method("Get<Lid>(|"), "Get", 0, ""),
    (method("Lid x = |"), "", None, "Lid"),
    (method("return |"), "", None, "Lid"),
    (method("if (Top == |"), "", None, "Lid"),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), CALLS)
def test_call(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, "csharp", callee=callee, argument=argument, expected_type=expected)


def test_names_and_members() -> None:
    check_site(
        method("int b = 1; void G() { } foreach (var (k, v) in d) { Do(out var o, z => z);\n        | }"),
        "csharp",
        visible={"b", "G", "k", "v", "o", "p", "lids", "_log", "Lids", "Top", "Fill", "Find", "Kettle", "Lid", "Json"},
        imports={"System": "System", "System.Text": "System.Text", "Json": "Shop.Text.JsonConvert"},
        enclosing=("Kettle", "Boil"),
        enclosing_signatures=(
            "public partial class Kettle<T> : Vessel<T>, IBoil where T : class",
            "public async Task<Lid> Boil(Point p, params Lid[] lids)",
        ),
    )
    check_site(method("this.|"), "csharp", own_members={"_log", "Lids", "Top", "Fill", "Find", "Boil", "End"})
    check_site(method("p.|"), "csharp", own_members={"X", "Top"})
    check_site(
        "enum Size { Small, Large = 2 }\nclass A { void F() { Size.| } }", "csharp", own_members={"Small", "Large"}
    )
