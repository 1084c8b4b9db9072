"""Vector search: FAISS over ids, vectors and metadata."""
