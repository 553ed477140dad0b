"""What crosses the border: values that users pass, foreign files, and our own files."""
