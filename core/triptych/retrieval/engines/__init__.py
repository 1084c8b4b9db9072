"""How FAISS holds and searches numbered rows: one engine for each kind of index, and the choice between them."""
