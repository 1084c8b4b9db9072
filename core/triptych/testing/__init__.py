"""The conformance kit: promises of the core as tests that plugin authors run on their own parts."""
