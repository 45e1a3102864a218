; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(type_spec name: (type_identifier) @scope.name type: (struct_type) @scope.body) @scope.class
(type_spec name: (type_identifier) @scope.name type: (interface_type) @scope.body) @scope.class

(function_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  result: (_)? @scope.type
  body: (_)? @scope.body) @scope.function
(method_declaration
  receiver: (parameter_list (parameter_declaration type: (_) @scope.owner))
  name: (field_identifier) @scope.name
  parameters: (_) @scope.header
  result: (_)? @scope.type
  body: (_)? @scope.body) @scope.function
(method_elem
  name: (field_identifier) @scope.name
  parameters: (_) @scope.header
  result: (_)? @scope.type) @scope.function
(func_literal
  parameters: (_) @scope.header
  result: (_)? @scope.type
  body: (_) @scope.body) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(statement_list (block) @scope.block)
(if_statement) @scope.block
(for_statement) @scope.block
(expression_switch_statement) @scope.block
(type_switch_statement) @scope.block
(expression_case) @scope.block
(type_case) @scope.block
(communication_case) @scope.block

; Parameters ---------------------------------------------------------------------------------------------------------
(method_declaration
  receiver: (parameter_list (parameter_declaration name: (identifier) @binding.variable type: (_) @binding.type)))
(function_declaration
  parameters: (parameter_list (parameter_declaration name: (identifier) @binding.parameter type: (_) @binding.type)))
(method_declaration
  parameters: (parameter_list (parameter_declaration name: (identifier) @binding.parameter type: (_) @binding.type)))
(method_elem
  parameters: (parameter_list (parameter_declaration name: (identifier) @binding.parameter type: (_) @binding.type)))
(func_literal
  parameters: (parameter_list (parameter_declaration name: (identifier) @binding.parameter type: (_) @binding.type)))
(variadic_parameter_declaration name: (identifier) @binding.parameter type: (_) @binding.type)

; Variables ----------------------------------------------------------------------------------------------------------
(var_spec name: (identifier) @binding.variable type: (_) @binding.type)
(var_spec . name: (identifier) @binding.variable value: (expression_list . (_) @binding.value .))
(const_spec name: (identifier) @binding.variable)
(short_var_declaration
  left: (expression_list . (identifier) @binding.variable .)
  right: (expression_list . (_) @binding.value .))
(short_var_declaration
  left: (expression_list . (identifier) @binding.variable . (identifier) .)
  right: (expression_list . [(type_assertion_expression) (call_expression) (index_expression)] @binding.value .))
(short_var_declaration left: (expression_list (identifier) @binding.variable))
(range_clause left: (expression_list (identifier) @binding.variable))
(range_clause
  left: (expression_list . (identifier) . (identifier) @binding.variable)
  right: (_) @binding.value)
(type_switch_statement alias: (expression_list . (identifier) @binding.variable))
(receive_statement left: (expression_list (identifier) @binding.variable))
(type_parameter_declaration name: (identifier) @binding.variable)
(type_alias name: (type_identifier) @binding.variable)

; Members ------------------------------------------------------------------------------------------------------------
(field_declaration name: (field_identifier) @binding.variable type: (_) @binding.type)
(field_declaration !name type: (type_identifier) @binding.variable @binding.type)

; Imports ------------------------------------------------------------------------------------------------------------
(import_spec !name path: (interpreted_string_literal (interpreted_string_literal_content) @binding.import @import.module))
(import_spec
  name: (package_identifier) @binding.import
  path: (interpreted_string_literal (interpreted_string_literal_content) @import.module))
