"""Small processes that hold one part of skerry each, to be killed by tests."""
