; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(struct_specifier name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(union_specifier name: (type_identifier) @scope.name body: (_) @scope.body) @scope.class
(type_definition
  type: [(struct_specifier body: (_) @scope.body) (union_specifier body: (_) @scope.body)] @scope.class
  declarator: (type_identifier) @scope.name)

(function_definition
  type: (_) @scope.type
  declarator: (function_declarator declarator: (identifier) @scope.name parameters: (_) @scope.header)
  body: (_) @scope.body) @scope.function
(function_definition
  type: (_) @scope.type
  declarator: (pointer_declarator
    declarator: (function_declarator declarator: (identifier) @scope.name parameters: (_) @scope.header))
  body: (_) @scope.body) @scope.function
(declaration
  type: (_) @scope.type
  declarator: (function_declarator declarator: (identifier) @scope.name parameters: (_) @scope.header)) @scope.function
(declaration
  type: (_) @scope.type
  declarator: (pointer_declarator
    declarator: (function_declarator declarator: (identifier) @scope.name parameters: (_) @scope.header))) @scope.function
(preproc_function_def name: (identifier) @scope.name parameters: (_) @scope.header) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(compound_statement (compound_statement) @scope.block)
(if_statement consequence: (compound_statement) @scope.block)
(else_clause (compound_statement) @scope.block)
(while_statement body: (compound_statement) @scope.block)
(do_statement body: (compound_statement) @scope.block)
(switch_statement body: (compound_statement) @scope.block)
(for_statement) @scope.block

; Parameters ---------------------------------------------------------------------------------------------------------
(parameter_declaration type: (_) @binding.type declarator: (identifier) @binding.parameter)
(parameter_declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (identifier) @binding.parameter))
(parameter_declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (pointer_declarator declarator: (identifier) @binding.parameter)))
(parameter_declaration
  type: (_) @binding.type
  declarator: (array_declarator declarator: (identifier) @binding.parameter))
(parameter_declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (array_declarator declarator: (identifier) @binding.parameter)))
(preproc_params (identifier) @binding.parameter)

; Variables ----------------------------------------------------------------------------------------------------------
(declaration type: (_) @binding.type declarator: (identifier) @binding.variable)
(declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (identifier) @binding.variable))
(declaration
  type: (_) @binding.type
  declarator: (array_declarator declarator: (identifier) @binding.variable))
(declaration
  type: (_) @binding.type
  declarator: (init_declarator declarator: (identifier) @binding.variable value: (_) @binding.value))
(declaration
  type: (_) @binding.type
  declarator: (init_declarator
    declarator: (pointer_declarator declarator: (identifier) @binding.variable)
    value: (_) @binding.value))
(declaration
  type: (_) @binding.type
  declarator: (init_declarator declarator: (array_declarator declarator: (identifier) @binding.variable)))
(enumerator name: (identifier) @binding.variable)
(preproc_def name: (identifier) @binding.variable)
(type_definition declarator: (type_identifier) @binding.variable)

; Members ------------------------------------------------------------------------------------------------------------
(field_declaration type: (_) @binding.type declarator: (field_identifier) @binding.variable)
(field_declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (field_identifier) @binding.variable))
(field_declaration
  type: (_) @binding.type
  declarator: (pointer_declarator declarator: (pointer_declarator declarator: (field_identifier) @binding.variable)))
(field_declaration
  type: (_) @binding.type
  declarator: (array_declarator declarator: (field_identifier) @binding.variable))
