"""How often the warnings are right: trust check, audit and health notes."""
