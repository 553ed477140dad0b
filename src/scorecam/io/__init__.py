"""Input and output: checks of users' values, reading foreign files, writing our own."""
