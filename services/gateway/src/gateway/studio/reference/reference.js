// The API, to read and try. Nothing is asked of other hosts: the validator that Swagger UI knows is one.
SwaggerUIBundle({
  dom_id: "#reference",
  url: "/openapi.json",
  deepLinking: true,
  validatorUrl: null,
});
