"""What is seen: projections of the log into tables, and the answers read from them."""
