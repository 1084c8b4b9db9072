"""What all web pages share: the template around them, the page of pages, and under `_shared` style and script."""
