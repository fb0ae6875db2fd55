"""Views of recorded runs: a page, a trace, text. Pure: nothing here reads a file of a run, or writes one."""
