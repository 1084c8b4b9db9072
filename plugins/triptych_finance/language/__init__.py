"""Text: sentences, clauses, companies, figures, and the reading of documents."""
