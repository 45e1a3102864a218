; What the grammar of TypeScript has beside what it shares with JavaScript's.

; Scopes -------------------------------------------------------------------------------------------------------------
(function_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?
  body: (_) @scope.body) @scope.function
(generator_function_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?
  body: (_) @scope.body) @scope.function
(function_signature
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?) @scope.function
(method_definition
  name: (_) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?
  body: (_) @scope.body) @scope.function
(method_signature
  name: (_) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?) @scope.function
(abstract_method_signature
  name: (_) @scope.name
  parameters: (_) @scope.header
  return_type: (type_annotation (_) @scope.type)?) @scope.function
(public_field_definition
  name: (_) @scope.name
  value: [(arrow_function) (function_expression) (generator_function)] @scope.function)
(arrow_function return_type: (type_annotation (_) @scope.type)) @scope.function
(function_expression return_type: (type_annotation (_) @scope.type)) @scope.function

(class_declaration
  name: (type_identifier) @scope.name
  (class_heritage (extends_clause value: (_) @scope.base))? @scope.header
  body: (_) @scope.body) @scope.class
(abstract_class_declaration
  name: (type_identifier) @scope.name
  (class_heritage (extends_clause value: (_) @scope.base))? @scope.header
  body: (_) @scope.body) @scope.class
(class
  name: (type_identifier)? @scope.name
  (class_heritage (extends_clause value: (_) @scope.base))? @scope.header
  body: (_) @scope.body) @scope.class
(variable_declarator
  name: (identifier) @scope.name
  value: (class
    (class_heritage (extends_clause value: (_) @scope.base))? @scope.header
    body: (_) @scope.body) @scope.class)
(interface_declaration
  name: (type_identifier) @scope.name
  (extends_type_clause . (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(enum_declaration name: (identifier) @scope.name body: (_) @scope.body) @scope.class
(type_alias_declaration name: (type_identifier) @scope.name value: (object_type) @scope.body) @scope.class
(internal_module body: (_) @scope.block)

; Parameters ---------------------------------------------------------------------------------------------------------
(required_parameter
  pattern: (identifier) @binding.parameter
  type: (type_annotation (_) @binding.type)?
  value: (_)? @binding.value)
(optional_parameter
  pattern: (identifier) @binding.parameter
  type: (type_annotation (_) @binding.type)?)
(required_parameter pattern: (rest_pattern (identifier) @binding.parameter) type: (type_annotation (_) @binding.type)?)
(required_parameter
  pattern: [(object_pattern) (array_pattern)] @binding.slot
  type: (type_annotation (_) @binding.type)?)
(required_parameter
  pattern: (object_pattern [
    (shorthand_property_identifier_pattern) @binding.variable
    (object_assignment_pattern left: (shorthand_property_identifier_pattern) @binding.variable)
    (pair_pattern key: (property_identifier) @binding.key value: (identifier) @binding.variable)])
  type: (type_annotation (_) @binding.owner_type))
(catch_clause parameter: (identifier) @binding.parameter type: (type_annotation (_) @binding.type)?)

; Variables ----------------------------------------------------------------------------------------------------------
(variable_declarator name: (identifier) @binding.variable type: (type_annotation (_) @binding.type))
(type_alias_declaration name: (type_identifier) @binding.variable)
(internal_module name: (identifier) @binding.variable)

; Members of the class being written ---------------------------------------------------------------------------------
(public_field_definition
  name: (_) @binding.field
  type: (type_annotation (_) @binding.type)?
  value: (_)? @binding.value)
(property_signature name: (_) @binding.field type: (type_annotation (_) @binding.type)?)
(required_parameter (accessibility_modifier) pattern: (identifier) @binding.field type: (type_annotation (_) @binding.type)?)
(required_parameter "readonly" pattern: (identifier) @binding.field type: (type_annotation (_) @binding.type)?)
(method_definition "get" name: (_) @binding.property return_type: (type_annotation (_) @binding.type))
(enum_body name: (_) @binding.field)
(enum_assignment name: (_) @binding.field)

; Imports ------------------------------------------------------------------------------------------------------------
(import_statement
  (import_require_clause (identifier) @binding.import source: (string (string_fragment) @import.module)))
