; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(class_declaration
  name: (name) @scope.name
  (base_clause . (_) @scope.base)? @scope.header
  (class_interface_clause)? @scope.header
  body: (_) @scope.body) @scope.class
(interface_declaration
  name: (name) @scope.name
  (base_clause . (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(trait_declaration name: (name) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration
  name: (name) @scope.name
  (class_interface_clause)? @scope.header
  body: (_) @scope.body) @scope.class
(anonymous_class (base_clause . (_) @scope.base)? @scope.header body: (_) @scope.body) @scope.class

(method_declaration
  name: (name) @scope.name
  parameters: (_) @scope.header
  return_type: (_)? @scope.type
  body: (_)? @scope.body) @scope.function
(function_definition
  name: (name) @scope.name
  parameters: (_) @scope.header
  return_type: (_)? @scope.type
  body: (_) @scope.body) @scope.function
(anonymous_function parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(arrow_function parameters: (_) @scope.header body: (_) @scope.body) @scope.function

; Parameters ---------------------------------------------------------------------------------------------------------
(simple_parameter type: (_)? @binding.type name: (variable_name) @binding.parameter)
(variadic_parameter type: (_)? @binding.type name: (variable_name) @binding.parameter)
(property_promotion_parameter type: (_)? @binding.type name: (variable_name) @binding.parameter)
(catch_clause type: (type_list . (_) @binding.type) name: (variable_name) @binding.parameter)

; Variables ----------------------------------------------------------------------------------------------------------
(assignment_expression left: (variable_name) @binding.variable right: (_) @binding.value)
(assignment_expression left: (list_literal (variable_name) @binding.variable))
(reference_assignment_expression left: (variable_name) @binding.variable right: (_) @binding.value)
(foreach_statement . (_) @binding.elements . (variable_name) @binding.variable)
(foreach_statement . (_) . (by_ref (variable_name) @binding.variable))
(foreach_statement . (_) . (pair . (variable_name) @binding.variable))
(foreach_statement . (_) @binding.elements . (pair (_) . (variable_name) @binding.variable .))
(foreach_statement . (_) . (pair (_) . (by_ref (variable_name) @binding.variable)))
(foreach_statement . (_) . (list_literal (variable_name) @binding.variable))
(static_variable_declaration name: (variable_name) @binding.variable value: (_)? @binding.value)
(global_declaration (variable_name) @binding.variable)
(const_element . (name) @binding.variable)
(enum_case name: (name) @binding.variable)

; Members of the class being written ---------------------------------------------------------------------------------
(property_declaration
  type: (_)? @binding.type
  (property_element name: (variable_name (name) @binding.field) default_value: (_)? @binding.value))
(property_declaration
  (static_modifier)
  type: (_)? @binding.type
  (property_element name: (variable_name) @binding.field default_value: (_)? @binding.value))
(property_promotion_parameter type: (_)? @binding.type name: (variable_name (name) @binding.field))
(assignment_expression
  left: (member_access_expression object: (variable_name) @binding.object name: (name) @binding.member)
  right: (_) @binding.value)

; What a condition says of a name ------------------------------------------------------------------------------------
(if_statement
  condition: (parenthesized_expression
    (binary_expression left: (variable_name) @binding.narrowed operator: "instanceof" right: (_) @binding.type))
  body: (_) @binding.region)
(binary_expression
  left: (binary_expression left: (variable_name) @binding.narrowed operator: "instanceof" right: (_) @binding.type)
  operator: "&&"
  right: (_) @binding.region)
(conditional_expression
  condition: (binary_expression left: (variable_name) @binding.narrowed operator: "instanceof" right: (_) @binding.type)
  body: (_) @binding.region)

; Imports ------------------------------------------------------------------------------------------------------------
(namespace_use_declaration (namespace_use_clause !alias (name) @binding.import @import.module))
(namespace_use_declaration (namespace_use_clause . (name) @import.module alias: (name) @binding.import))
(namespace_use_declaration
  (namespace_use_clause !alias (qualified_name prefix: (_) @import.module (name) @binding.import @import.member)))
(namespace_use_declaration
  (namespace_use_clause
    (qualified_name prefix: (_) @import.module (name) @import.member)
    alias: (name) @binding.import))

; In a list
(namespace_use_declaration
  (namespace_name) @import.module
  body: (namespace_use_group (namespace_use_clause !alias (name) @binding.import @import.member)))
(namespace_use_declaration
  (namespace_name) @import.module
  body: (namespace_use_group (namespace_use_clause . (name) @import.member alias: (name) @binding.import)))
(namespace_use_declaration
  (namespace_name) @import.module
  body: (namespace_use_group
    (namespace_use_clause !alias (qualified_name prefix: (_) @import.module (name) @binding.import @import.member))))
(namespace_use_declaration
  (namespace_name) @import.module
  body: (namespace_use_group
    (namespace_use_clause
      (qualified_name prefix: (_) @import.module (name) @import.member)
      alias: (name) @binding.import)))
