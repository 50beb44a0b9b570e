"""The service, from the outside in.

`cli` names the `commands`. `polygrain serve` runs a `server`, alone or as one of several
`processes`, around an `app`: its `middleware`, the operations of `api`, and what they are made of,
`jobs`, `retrieval` and `alignment`, which all get vectors from `encoding`. Commands on files take
the same parts without a server, or ask one as its `client`. Who may ask is `security`; what may
be set, `settings`; what is told of it all, `telemetry`, `metrics` and `tracing`.
"""
