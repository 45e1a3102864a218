; What differs from C.
(raw_string_literal) @region.string
