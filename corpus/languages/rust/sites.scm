; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(line_comment) @region.comment
(block_comment) @region.comment
(string_literal) @region.string
(raw_string_literal) @region.string
(char_literal) @region.string
