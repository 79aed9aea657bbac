"""What programs written for OpenAI's API call: its routes, error objects and headers over the same generations."""
