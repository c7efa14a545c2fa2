"""What was said: the vocabulary of events, their codec, and the log that keeps them."""
