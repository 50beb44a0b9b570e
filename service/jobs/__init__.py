"""Jobs: files in, files out, in shards that are each done once whatever dies.

`specs` says what a job is, `store` keeps its state, `sources` and `plan` find and cut its input,
`texts` embeds the texts of its rows, `kinds` makes of them what the shard of a job comes to, and
`mining` does an alignment, which has no shards; all three get what they need from a `context`.
`shards` publishes what a shard came to, `results` puts the shards together, and `runner` drives all
of it, each job by `run`. docs/jobs.md has the promises.
"""
