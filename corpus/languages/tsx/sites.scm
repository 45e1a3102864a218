; What kind of place a cursor is in, beside what TypeScript has.
(jsx_text) @region.text
