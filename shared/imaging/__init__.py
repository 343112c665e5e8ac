"""Making and keeping pictures: the request, the service, the providers, the image store."""
