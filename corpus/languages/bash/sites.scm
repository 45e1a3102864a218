; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(raw_string) @region.string
(ansi_c_string) @region.string
