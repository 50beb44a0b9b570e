"""The commands of `polygrain`, a module each, and the work on files that they do without a server.

Commands are light: what computes, `files` and `align_files`, and the clients of a server are
imported when they are used. `options` are those that several commands take.
"""
