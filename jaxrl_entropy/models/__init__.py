"""The decoder, its adapters and its configurations."""
