; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(interpreted_string_literal) @region.string
(raw_string_literal) @region.string
(rune_literal) @region.string
