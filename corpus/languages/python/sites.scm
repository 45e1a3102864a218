; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(string) @region.string
(interpolation) @region.code
(type) @region.type
