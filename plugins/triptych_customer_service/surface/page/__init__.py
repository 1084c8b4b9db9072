"""The files of the chat page."""
