"""Photographs with exact masks, built from packages of Debian."""
