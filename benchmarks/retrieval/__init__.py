"""Vector search: our index beside hnswlib, usearch and bare FAISS, on embeddings of real text."""
