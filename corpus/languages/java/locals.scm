; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(class_declaration
  name: (identifier) @scope.name
  (superclass (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(interface_declaration
  name: (identifier) @scope.name
  (extends_interfaces (type_list . (_) @scope.base))? @scope.header
  body: (_) @scope.body) @scope.class
(enum_declaration name: (identifier) @scope.name body: (_) @scope.body) @scope.class
(record_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.class
(annotation_type_declaration name: (identifier) @scope.name body: (_) @scope.body) @scope.class
(object_creation_expression
  type: (_) @scope.base
  (class_body) @scope.body @scope.class)

(method_declaration
  type: (_) @scope.type
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_)? @scope.body) @scope.function
(constructor_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function
(compact_constructor_declaration name: (identifier) @scope.name body: (_) @scope.body) @scope.function
(annotation_type_element_declaration type: (_) @scope.type name: (identifier) @scope.name) @scope.function
(static_initializer (block) @scope.body) @scope.function
(lambda_expression
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(block (block) @scope.block)
(constructor_body (block) @scope.block)
(class_body (block) @scope.block)
(if_statement consequence: (block) @scope.block)
(if_statement alternative: (block) @scope.block)
(while_statement body: (block) @scope.block)
(do_statement body: (block) @scope.block)
(try_statement body: (block) @scope.block)
(try_with_resources_statement) @scope.block
(finally_clause (block) @scope.block)
(synchronized_statement body: (block) @scope.block)
(catch_clause) @scope.block
(for_statement) @scope.block
(enhanced_for_statement) @scope.block
(switch_block) @scope.block
(switch_rule) @scope.block

; Parameters ---------------------------------------------------------------------------------------------------------
(formal_parameter type: (_) @binding.type name: (identifier) @binding.parameter)
(spread_parameter (_) @binding.type (variable_declarator name: (identifier) @binding.parameter))
(lambda_expression parameters: (identifier) @binding.parameter)
(inferred_parameters (identifier) @binding.parameter)
(catch_formal_parameter (catch_type . (_) @binding.type) name: (identifier) @binding.parameter)

; Variables ----------------------------------------------------------------------------------------------------------
(local_variable_declaration
  type: (_) @binding.type
  declarator: (variable_declarator name: (identifier) @binding.variable value: (_)? @binding.value))
(field_declaration
  type: (_) @binding.type
  declarator: (variable_declarator name: (identifier) @binding.variable value: (_)? @binding.value))
(constant_declaration
  type: (_) @binding.type
  declarator: (variable_declarator name: (identifier) @binding.variable value: (_)? @binding.value))
(enhanced_for_statement type: (_) @binding.type name: (identifier) @binding.variable value: (_) @binding.elements)
(resource type: (_) @binding.type name: (identifier) @binding.variable value: (_) @binding.value)
(instanceof_expression right: (_) @binding.type name: (identifier) @binding.variable)
(type_pattern (_) @binding.type (identifier) @binding.variable)
(record_pattern_component (_) @binding.type (identifier) @binding.variable)
(enum_constant name: (identifier) @binding.variable)
(enum_declaration
  name: (identifier) @binding.type
  body: (enum_body (enum_constant name: (identifier) @binding.variable)))

; Members of the class being written ---------------------------------------------------------------------------------
(record_declaration
  parameters: (formal_parameters (formal_parameter type: (_) @binding.type name: (identifier) @binding.field)))

; What a condition says of a name ------------------------------------------------------------------------------------
(if_statement
  condition: (parenthesized_expression
    (instanceof_expression left: (identifier) @binding.narrowed right: (_) @binding.type))
  consequence: (_) @binding.region)
(binary_expression
  left: (instanceof_expression left: (identifier) @binding.narrowed right: (_) @binding.type)
  operator: "&&"
  right: (_) @binding.region)
(ternary_expression
  condition: (instanceof_expression left: (identifier) @binding.narrowed right: (_) @binding.type)
  consequence: (_) @binding.region)

; Imports ------------------------------------------------------------------------------------------------------------
(import_declaration
  (scoped_identifier scope: (_) @import.module name: (identifier) @binding.import @import.member)
  .)
