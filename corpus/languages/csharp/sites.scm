; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(string_literal) @region.string
(verbatim_string_literal) @region.string
(raw_string_literal) @region.string
(character_literal) @region.string
(interpolated_string_expression) @region.string
(interpolation) @region.code
