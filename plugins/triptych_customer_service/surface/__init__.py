"""What customer service adds to a server: routes to conversations and feedback, and the chat page."""
