; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(struct_item name: (type_identifier) @scope.name body: (_)? @scope.body) @scope.class
(enum_item name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(union_item name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(trait_item name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(impl_item type: (_) @scope.owner @scope.header body: (_) @scope.body) @scope.class

(function_item
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (_)? @scope.type
  body: (_) @scope.body) @scope.function
(function_signature_item
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (_)? @scope.type) @scope.function
(closure_expression parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(macro_definition name: (identifier) @scope.name) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(block (expression_statement (block) @scope.block))
(if_expression) @scope.block
(else_clause (block) @scope.block)
(while_expression) @scope.block
(for_expression) @scope.block
(loop_expression body: (block) @scope.block)
(match_arm) @scope.block
(mod_item body: (_) @scope.block)
(unsafe_block (block) @scope.block)

; Parameters ---------------------------------------------------------------------------------------------------------
(parameters (self_parameter (self) @binding.parameter))
(parameter pattern: (identifier) @binding.parameter type: (_) @binding.type)
(parameter pattern: (mut_pattern (identifier) @binding.parameter) type: (_) @binding.type)
(closure_parameters (identifier) @binding.parameter)
(closure_parameters (reference_pattern (identifier) @binding.parameter))
(type_parameter name: (type_identifier) @binding.variable)

; Variables ----------------------------------------------------------------------------------------------------------
(let_declaration pattern: (identifier) @binding.variable type: (_)? @binding.type value: (_)? @binding.value)
(let_declaration
  pattern: (mut_pattern (identifier) @binding.variable)
  type: (_)? @binding.type
  value: (_)? @binding.value)
(let_declaration pattern: (tuple_pattern (identifier) @binding.variable))
(let_condition pattern: (tuple_struct_pattern (identifier) @binding.variable .) value: (_) @binding.elements)
(for_expression pattern: (identifier) @binding.variable value: (_) @binding.elements)
(for_expression pattern: (tuple_pattern (identifier) @binding.variable))
(match_pattern (identifier) @binding.variable)
(match_pattern (tuple_struct_pattern type: (_) (identifier) @binding.variable))
(const_item name: (identifier) @binding.variable type: (_) @binding.type)
(static_item name: (identifier) @binding.variable type: (_) @binding.type)
(enum_variant name: (identifier) @binding.variable)
(type_item name: (type_identifier) @binding.variable)

; Members ------------------------------------------------------------------------------------------------------------
(field_declaration name: (field_identifier) @binding.variable type: (_) @binding.type)

; Imports ------------------------------------------------------------------------------------------------------------
(use_declaration argument: (identifier) @binding.import @import.module)
(use_declaration argument: (scoped_identifier path: (_) @import.module name: (_) @binding.import @import.member))
(use_declaration argument: (use_as_clause path: (identifier) @import.module alias: (identifier) @binding.import))
(use_declaration
  argument: (use_as_clause
    path: (scoped_identifier path: (_) @import.module name: (_) @import.member)
    alias: (identifier) @binding.import))

; In a list
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (identifier) @binding.import @import.member)))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (scoped_identifier path: (_) @import.module name: (identifier) @binding.import @import.member))))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (use_as_clause path: (identifier) @import.member alias: (identifier) @binding.import))))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (use_as_clause
      path: (scoped_identifier path: (_) @import.module name: (_) @import.member)
      alias: (identifier) @binding.import))))
(use_declaration
  argument: (scoped_use_list path: (identifier) @binding.import @import.module list: (use_list (self))))
(use_declaration
  argument: (scoped_use_list
    path: (scoped_identifier path: (_) @import.module name: (identifier) @binding.import @import.member)
    list: (use_list (self))))

; In a list within a list
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (scoped_use_list
      path: (_) @import.module
      list: (use_list (identifier) @binding.import @import.member)))))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (scoped_use_list
      path: (_) @import.module
      list: (use_list (scoped_identifier path: (_) @import.module name: (identifier) @binding.import @import.member))))))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (scoped_use_list path: (identifier) @binding.import @import.member list: (use_list (self))))))
(use_declaration
  argument: (scoped_use_list
    path: (_) @import.module
    list: (use_list (scoped_use_list
      path: (scoped_identifier path: (_) @import.module name: (identifier) @binding.import @import.member)
      list: (use_list (self))))))
