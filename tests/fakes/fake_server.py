"""A language server that does what a JSON file says: for behaviours that a real one can't be made to show.

    python fake_server.py SPEC.json

SPEC: completion (result), nothing_on (lines without one), empty_first (how many lists are empty at first), capabilities (laid over), hang (methods never answered), crash_on (methods that end it),
resolve (adds documentation), results (by method), errors (methods that fail), on_open (message sent then), log (a file: one line a message received), stubborn (ignores exit and end of input).
raw (bytes of a result by method, as latin-1), dies_after (methods that it answers, and ends), deaf_on (methods after which it
reads nothing), closes_output_on, spawns (method to {file, session}: starts a process that ignores SIGTERM), stderr_on
(method to a number of lines), life (a file in which starts are counted) with lives (what the second, the third … has else), slow
(method to the seconds before it is answered). results_in_turn (by method, one result after the other; null for an error).
The notification `fake/send` makes it send its params; any other request is answered with its own params.
"""

import json
import os
import subprocess
import sys
import time

spec = json.load(open(sys.argv[1], encoding="utf-8"))
if "life" in spec:
    with open(spec["life"], "a") as counted:
        counted.write("x")
    life = os.path.getsize(spec["life"])
    spec.update(spec["lives"][min(life, len(spec["lives"]) + 1) - 2] if life > 1 else {})
read, write = sys.stdin.buffer, sys.stdout.buffer


def send(message: dict) -> None:
    body = json.dumps(message).encode()
    write.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    write.flush()


def spawn(how: dict) -> None:
    script = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 15)]; time.sleep(300)"
    started = subprocess.Popen([sys.executable, "-c", script], start_new_session=how.get("session", False))
    with open(how["file"], "a") as file:
        file.write(f"{started.pid}\n")


def note(message: dict) -> None:
    if "log" in spec:
        with open(spec["log"], "a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")


def result_of(message: dict):
    method, params = message["method"], message.get("params")
    if method == "initialize":
        capabilities = {"textDocumentSync": 2, "completionProvider": {"triggerCharacters": ["."]}}
        if spec.get("resolve"):
            capabilities["completionProvider"]["resolveProvider"] = True
        return {"capabilities": {**capabilities, **spec.get("capabilities", {})}, "odd": {"kept": True}}
    if method == "textDocument/completion":
        spec["empty_first"] = spec.get("empty_first", 0) - 1
        nothing = spec["empty_first"] >= 0 or params["position"]["line"] in spec.get("nothing_on", ())
        return [] if nothing else spec.get("completion")
    if method == "completionItem/resolve":
        return {**params, "documentation": "resolved " + json.dumps(params, sort_keys=True)}
    if method == "shutdown":
        return None
    if method in spec.get("results_in_turn", ()):
        return spec["results_in_turn"][method].pop(0)
    if method in spec.get("results", ()):
        return spec["results"][method]
    return {"echo": params}


while True:
    header = read.readline()
    if not header:
        if spec.get("stubborn"):
            time.sleep(600)
        break
    length = int(header.split(b":")[1])
    while read.readline().strip():
        pass
    message = json.loads(read.read(length))
    note(message)
    method = message.get("method")
    if method in spec.get("crash_on", ()):
        flag = spec.get("crash_once")
        if flag is None or not os.path.exists(flag):
            if flag:
                open(flag, "w").close()
            print("crashing as told", file=sys.stderr, flush=True)
            os._exit(3)
    if method == "exit" and not spec.get("stubborn"):
        break
    if method == "textDocument/didOpen" and "on_open" in spec:
        send({"jsonrpc": "2.0", **spec["on_open"]})
    if method == "fake/send":
        send(message["params"])
    if method == "fake/bytes":
        write.write(message["params"]["text"].encode())
        write.flush()
    if method in spec.get("spawns", ()):
        spawn(spec["spawns"][method])
    if method in spec.get("stderr_on", ()):
        for number in range(spec["stderr_on"][method]):
            os.write(2, b"line %d of what nobody reads %s\n" % (number, b"x" * 200))
    if method in spec.get("raw", ()):
        body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (
            json.dumps(message["id"]).encode(),
            spec["raw"][method].encode("latin-1"),
        )
        write.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        write.flush()
        continue
    if method in spec.get("closes_output_on", ()):
        os.close(1)
        time.sleep(600)
    if method in spec.get("deaf_on", ()):
        time.sleep(600)
    time.sleep(spec.get("slow", {}).get(method, 0))
    if method in spec.get("errors", ()) or spec.get("results_in_turn", {}).get(method, [0])[0] is None:
        send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32803, "message": "as told"}})
    elif "id" in message and method is not None and method not in spec.get("hang", ()):
        send({"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)})
    if method in spec.get("dies_after", ()):
        os._exit(5)
