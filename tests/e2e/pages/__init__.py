"""What README and docs tell one to type, typed.

`documented.py` finds the commands in the pages and lists those that no test can run, with reasons;
`shell.py` types them; the modules of tests each take some pages; `test_all.py` says that none is
left out.
"""
