; What differs from C. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(class_specifier
  name: [(type_identifier) (template_type name: (type_identifier))] @scope.name
  (base_class_clause . (access_specifier)? . (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(struct_specifier
  name: (type_identifier) @scope.name
  (base_class_clause . (access_specifier)? . (_) @scope.base) @scope.header
  body: (_) @scope.body) @scope.class
(enum_specifier name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(concept_definition name: (identifier) @scope.name) @scope.class
(namespace_definition body: (_) @scope.body) @scope.block

; A method within its class, and one that stands outside of it.
(function_definition
  type: (_)? @scope.type
  declarator: (function_declarator
    declarator: [(field_identifier) (destructor_name) (operator_name)] @scope.name
    parameters: (_) @scope.header)
  body: (_) @scope.body) @scope.function
(function_definition
  type: (_)? @scope.type
  declarator: (reference_declarator
    (function_declarator declarator: [(identifier) (field_identifier)] @scope.name parameters: (_) @scope.header))
  body: (_) @scope.body) @scope.function
(function_definition
  type: (_)? @scope.type
  declarator: (pointer_declarator
    declarator: (function_declarator declarator: (field_identifier) @scope.name parameters: (_) @scope.header))
  body: (_) @scope.body) @scope.function
(function_definition
  declarator: (function_declarator declarator: (identifier) @scope.name parameters: (_) @scope.header)
  body: (_) @scope.body) @scope.function
(function_definition
  type: (_)? @scope.type
  declarator: (function_declarator
    declarator: (qualified_identifier
      scope: [(namespace_identifier) (template_type name: (type_identifier))] @scope.owner
      name: [(identifier) (destructor_name) (operator_name)] @scope.name)
    parameters: (_) @scope.header)
  body: (_) @scope.body) @scope.function
(function_definition
  type: (_)? @scope.type
  declarator: (reference_declarator
    (function_declarator
      declarator: (qualified_identifier
        scope: [(namespace_identifier) (template_type)] @scope.owner
        name: (identifier) @scope.name)
      parameters: (_) @scope.header))
  body: (_) @scope.body) @scope.function
(field_declaration
  type: (_) @scope.type
  declarator: (function_declarator declarator: (field_identifier) @scope.name parameters: (_) @scope.header)) @scope.function
(field_declaration
  type: (_) @scope.type
  declarator: (pointer_declarator
    declarator: (function_declarator declarator: (field_identifier) @scope.name parameters: (_) @scope.header))) @scope.function
(field_declaration
  type: (_) @scope.type
  declarator: (reference_declarator
    (function_declarator declarator: (field_identifier) @scope.name parameters: (_) @scope.header))) @scope.function
(lambda_expression
  declarator: (_)? @scope.header
  body: (_) @scope.body) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(for_range_loop) @scope.block
(catch_clause) @scope.block
(try_statement body: (compound_statement) @scope.block)

; Parameters ---------------------------------------------------------------------------------------------------------
(parameter_declaration type: (_) @binding.type declarator: (reference_declarator (identifier) @binding.parameter))
(optional_parameter_declaration type: (_) @binding.type declarator: (identifier) @binding.parameter)
(optional_parameter_declaration
  type: (_) @binding.type
  declarator: [(pointer_declarator (identifier) @binding.parameter) (reference_declarator (identifier) @binding.parameter)])
(type_parameter_declaration (type_identifier) @binding.variable)

; Variables ----------------------------------------------------------------------------------------------------------
(declaration
  type: (_) @binding.type
  declarator: (init_declarator declarator: (reference_declarator (identifier) @binding.variable) value: (_) @binding.value))
(for_range_loop type: (_) @binding.type declarator: (identifier) @binding.variable right: (_) @binding.elements)
(for_range_loop
  type: (_) @binding.type
  declarator: (reference_declarator (identifier) @binding.variable)
  right: (_) @binding.elements)
(alias_declaration name: (type_identifier) @binding.variable)
(structured_binding_declarator (identifier) @binding.variable)

; Members ------------------------------------------------------------------------------------------------------------
(field_declaration
  type: (_) @binding.type
  declarator: (reference_declarator (field_identifier) @binding.variable))
(using_declaration (qualified_identifier scope: (_) @import.module name: (identifier) @binding.import @import.member))
