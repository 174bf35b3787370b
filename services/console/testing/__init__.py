"""A workspace's tests on the virtual clock, through the very core that runs in production.

suites = read_suites(files, workspace.flows, problems)   # what is to be tested
report = run_suites(suites, workspace)                   # what became of it

Everything a test says about a run (`trace.py`) is what the simulation showed while it ran: the
core's effects, dispatch's verdicts, and the conditions that were asked (`listening.py`). Nothing
is computed a second time.
"""
