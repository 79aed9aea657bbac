"""The social frontend: pictures and texts for posts, in four styles, with credits in every answer."""
