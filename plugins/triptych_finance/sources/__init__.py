"""Where news comes from: files in event time, a watched folder, feeds, HTTP push, streams of Redis or Valkey."""
