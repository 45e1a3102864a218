"""The ranker: what scores candidates at a site. Never adds, drops or rewrites one."""
