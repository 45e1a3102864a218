"""Reading code: at a cursor and by the thousand repositories."""
