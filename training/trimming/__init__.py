"""Cut a bundle's vocabulary: which tokens to keep, the tokenizer, the graph, and what it costs."""
