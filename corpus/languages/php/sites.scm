; What kind of place a cursor is in. The vocabulary is documented in corpus/syntax/queries.py.
(comment) @region.comment
(string) @region.string
(encapsed_string) @region.string
(heredoc_body) @region.string
(nowdoc_body) @region.string
(text) @region.text
