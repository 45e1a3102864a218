; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(string) @region.string
(template_string) @region.string
(regex) @region.string
(template_substitution) @region.code
(jsx_text) @region.text
