"""What a hostile or broken client may send, as tables: each row with the answer that it has to get."""
