"""The book's machinery: proof engine, evidence, ledger, teaching pictures."""
