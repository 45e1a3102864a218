"""Which wrapped server a message is for, and how several answers become one."""
