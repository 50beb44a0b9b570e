"""Two ways to the same API: `http` to a running server, `in_process` to the application itself.

So the commands on collections are written once, and a folder and a server answer them alike.
"""
