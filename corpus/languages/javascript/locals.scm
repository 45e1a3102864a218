; What the grammar of JavaScript alone has.

; Scopes -------------------------------------------------------------------------------------------------------------
(function_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function
(generator_function_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function
(method_definition
  name: (_) @scope.name
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function
(field_definition
  property: (_) @scope.name
  value: [(arrow_function) (function_expression) (generator_function)] @scope.function)

(class_declaration
  name: (identifier) @scope.name
  (class_heritage (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(class
  name: (identifier)? @scope.name
  (class_heritage (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(variable_declarator
  name: (identifier) @scope.name
  value: (class (class_heritage (_) @scope.base)? @scope.header body: (_) @scope.body) @scope.class)

; Parameters ---------------------------------------------------------------------------------------------------------
(formal_parameters (identifier) @binding.parameter)
(formal_parameters (assignment_pattern left: (identifier) @binding.parameter right: (_) @binding.value))
(formal_parameters (rest_pattern (identifier) @binding.parameter))
(formal_parameters [(object_pattern) (array_pattern)] @binding.slot)
(formal_parameters (assignment_pattern left: [(object_pattern) (array_pattern)] @binding.slot))
(catch_clause parameter: (identifier) @binding.parameter)

; Members of the class being written ---------------------------------------------------------------------------------
(field_definition property: (_) @binding.field value: (_)? @binding.value)
(method_definition ["get" "set"] name: (_) @binding.field)
