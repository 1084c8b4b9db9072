"""The back-test: a replay judged by what prices did afterwards, and its report."""
