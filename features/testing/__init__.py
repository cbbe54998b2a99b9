"""What an extractor's tests are made of; for our own extractors and for those that others write."""
